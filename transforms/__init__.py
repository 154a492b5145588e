"""The Beam graph: each transform wires domain functions and holds no algorithm."""
