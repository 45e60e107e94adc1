"""What is on disk: lines, problem files, pools of samples, and the folders of runs."""
