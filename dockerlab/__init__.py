"""dockerlab: a container lab that lives in Jupyter."""
