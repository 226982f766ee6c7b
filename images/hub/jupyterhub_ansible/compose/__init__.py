"""The Hub as a Compose application: it does itself what the Ansible roles do around it.

`entrypoint` prepares secrets before root is dropped; `reconciler` makes and maintains networks, fence and images.
"""
