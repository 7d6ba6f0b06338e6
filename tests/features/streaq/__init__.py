"""What the Workers page of streaQ promises."""
