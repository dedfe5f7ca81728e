"""Mixed sessions for a while, with cuts, kills, floods and restarts; at the end a balance."""
