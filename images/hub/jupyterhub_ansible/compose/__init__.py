"""The Hub as a Compose application: what a deployment by Ansible does around it, it does by itself.

`entrypoint` becomes the Hub's account, `keeper` makes and keeps networks, fence and images.
"""
