#include "core/base/memory.h"
#include "core/sae/catalogue_private.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void catalogue_folder_free(struct catalogue_folder *names)
{
    for (size_t i = 0; i < names->n; i++) {
        memory_free(names->list[i]);
    }
    memory_free(names->list);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool catalogue_folder_has(const struct catalogue_folder *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

int catalogue_folder_read(struct catalogue_folder *names, const char *path, int *error,
                          struct status *st)
{
    DIR *folder = opendir(path);
    *error = folder ? 0 : errno;
    int code = STATUS_OK;
    for (struct dirent *d; folder && !code && (d = readdir(folder)) != NULL;) {
        if (d->d_name[0] == '.') {
            continue;
        }
        char *name = memory_string(d->d_name);
        char **list =
            name ? catalogue_grow(names->list, names->n, &names->capacity, sizeof *list, st) : NULL;
        if (list) {
            names->list = list;
            list[names->n++] = name;
        } else {
            memory_free(name);
            code = status_no_memory(st, strlen(d->d_name) + 1);
        }
    }
    if (folder) {
        closedir(folder);
    }
    if (names->n) {
        qsort(names->list, names->n, sizeof *names->list, compare_names);
    }
    return code;
}

void catalogue_folder_main_first(struct catalogue_folder *names, const char *path)
{
    char *main_ref = catalogue_path_join(path, "../refs/main");
    FILE *file = main_ref ? fopen(main_ref, "r") : NULL;
    char hash[128] = "";
    if (file) {
        size_t n = fread(hash, 1, sizeof hash - 1, file);
        hash[n] = '\0';
        hash[strcspn(hash, " \r\n")] = '\0';
        fclose(file);
    }
    memory_free(main_ref);
    for (size_t i = 1; i < names->n; i++) {
        if (strcmp(names->list[i], hash) == 0) {
            char *first = names->list[i];
            memmove(names->list + 1, names->list, i * sizeof *names->list);
            names->list[0] = first;
        }
    }
}
