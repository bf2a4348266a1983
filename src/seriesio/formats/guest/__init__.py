"""What the guest formats share: bytes in and out, gzip, sizes, numbers, affines, axes."""
