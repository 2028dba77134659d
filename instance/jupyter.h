/* jupyter.h - is a Jupyter kernel installed, and with which Python? */
#ifndef TERMINALS_INSTANCE_JUPYTER_H
#define TERMINALS_INSTANCE_JUPYTER_H

/* The Python of the kernel `python3`: the first word of the first kernel.json of that name in the folders where Jupyter
 * looks (JUPYTER_PATH, the user's, /usr/local, /usr). An absolute path from malloc(); NULL: no kernel, or no such
 * program. That Python has jupyter_client, since ipykernel needs it. */
char *jupyter_find_python(void);

#endif
