"""A server that speaks as ComfyUI does and works as it does, on a processor: for tests without a GPU.

    python -m joulegate.testing.comfyui --port 8188

Its wire is that of server.py, execution.py and comfy_execution/jobs.py of ComfyUI: the answer to a prompt is
immediate, one worker does one prompt after the other, events go only to the socket of the client that
submitted, results of unchanged nodes are cached. Its nodes do real arithmetic, about as much for each
denoising step and pixel, so that a job takes the time and the energy that its size says.
"""
