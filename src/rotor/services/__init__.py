"""The background loops: each acts on what stands in the store, and every server may run all of them."""
