"""U-Nets and the trial-batched convolution."""
