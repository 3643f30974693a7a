"""What the lab's Envoys were told, have and do: synchronisation with Pilot, configuration in force, traffic."""
