"""What the chapter on background tasks of litestar-fullstack promises."""
