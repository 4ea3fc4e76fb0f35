"""The figures, one file each kind; `drawing` says which there are, `shared` what they have in
common.
"""
