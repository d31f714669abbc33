"""Curation: perspective RGB-D to panoramas; video to sorted frames."""
