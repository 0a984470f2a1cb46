"""Who may come in: one layer outside of everything that a server of ours serves."""
