"""The report: one HTML file, its sentences, tables and the data that report.js draws from."""
