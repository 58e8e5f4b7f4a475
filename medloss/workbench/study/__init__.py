"""One bundle trained with several losses under equal conditions, and what came of it."""
