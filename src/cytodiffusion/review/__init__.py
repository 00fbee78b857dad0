"""What a person looks at: cells of a slide or a study, their order, their counts, their pictures."""
