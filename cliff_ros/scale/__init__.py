"""The same work over many files, on the processes of this machine or on Ray's machines: nothing lost, nothing twice."""
