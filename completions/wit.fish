complete --keep-order --exclusive --command wit --arguments "(WIT_COMPLETE=fish wit -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
