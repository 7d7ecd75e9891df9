"""Is this exposure like what the model was trained on?"""
