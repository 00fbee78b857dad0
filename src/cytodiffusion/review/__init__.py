"""What a person looks at: cells of a slide or a study, in which order, counts and pictures."""
