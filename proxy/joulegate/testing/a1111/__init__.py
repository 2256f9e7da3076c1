"""A server that speaks as AUTOMATIC1111 does and works as it does, on a processor: for tests without a GPU.

    python -m joulegate.testing.a1111 --port 7860            # a denoiser of random weights
    python -m joulegate.testing.a1111 --port 7860 --terrain  # a small trained model that draws terrain

Its wire is that of modules/api/api.py and modules/api/models.py of AUTOMATIC1111 1.10.1: one blocking answer
under one lock, which goes on when its client has left; the final values as JSON in a string; progress and
interrupting beside it.
"""
