"""Node groups on Amazon Web Services: Auto Scaling groups, those of EKS managed node groups included."""
