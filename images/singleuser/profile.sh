# A login shell (JupyterLab's terminal) starts with the distribution's PATH.
export PATH="$VIRTUAL_ENV/bin:/opt/jupyter/bin:$PATH"
