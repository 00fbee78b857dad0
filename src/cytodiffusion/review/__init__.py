"""What a person looks at: the cells of a slide or study, in which order, and pictures of them."""
