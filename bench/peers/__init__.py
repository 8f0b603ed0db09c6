"""What a team would use instead of Headwater, loaded with the same documents in the same run."""
