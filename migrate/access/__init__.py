"""Who may pull: the manifest's grants as RoleBindings at the target; planned, applied, proved, taken back."""
