"""The foundry: channel-attention nets, their TorchScript form and the archives that serve them.

It shares file formats, not code, with the gateway (`serve`) and with what travels in archives (`handlers`).
"""
