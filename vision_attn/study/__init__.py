"""How much data a network needs: trainings on shares of a data set, side by side."""
