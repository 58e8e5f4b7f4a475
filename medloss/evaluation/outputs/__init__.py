"""What an evaluation leaves behind: tables, records, pages, pictures."""
