"""What the views show, without widgets: these modules import QtCore and nothing else of Qt."""
