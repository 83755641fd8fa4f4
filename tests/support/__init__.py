"""What tests share: hosts, strongSwan and other daemons on them, packets, and recorded events."""
