"""The app on parts that this project did not write. Run by hand and at a release; not collected by pytest."""
