"""What the notebooks do live: experiments of several runs, and explorers."""
