"""The processes of a cluster: what `trimtab up` does in one process for one model, they do for many."""
