"""The PDF of a report. This package is the only place that imports reportlab."""

from audit.report.pdf.document import render_pdf

__all__ = ["render_pdf"]
