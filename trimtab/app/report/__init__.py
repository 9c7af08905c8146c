"""One self-contained page of HTML that shows whether continuous training paid, and why each decision was taken."""
