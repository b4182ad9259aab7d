/* The thread that makes the sweeps. */
#include "pss_reader.h"

#include "thread.h"

void mw_pss_reader_begin(mw_pss_reader *r, const mw_platform *platform) {
    *r = (mw_pss_reader){.platform = platform, .sweep = mw_sweep_new()};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
}

static bool is_stopping(void *reader) {
    mw_pss_reader *r = reader;
    pthread_mutex_lock(&r->lock);
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

static void *run(void *reader) {
    mw_pss_reader *r = reader;
    mw_platform_name_thread("memwatch-pss");
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        if (!r->reading) {
            pthread_cond_wait(&r->wake, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        mw_sweep_run(&r->sweep, r->platform, is_stopping, r);
        pthread_mutex_lock(&r->lock);
        r->reading = false;
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int hand_over(mw_pss_reader *r) {
    if (!r->has_thread) {
        r->reading = true;
        int error = mw_start_thread(&r->thread, run, r);
        r->has_thread = !error;
        return error ? error : 1;
    }
    if (pthread_mutex_trylock(&r->lock))
        return 0;
    r->reading = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    return 1;
}

int mw_pss_reader_sweep(mw_pss_reader *r) {
    int result = hand_over(r);
    r->under_way = result == 1;
    return result;
}

bool mw_pss_reader_has_ended(mw_pss_reader *r) {
    if (!r->under_way || pthread_mutex_trylock(&r->lock))
        return false;
    r->under_way = r->reading;
    pthread_mutex_unlock(&r->lock);
    return !r->under_way;
}

void mw_pss_reader_end(mw_pss_reader *r) {
    if (r->has_thread) {
        pthread_mutex_lock(&r->lock);
        r->stopping = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    mw_sweep_free(&r->sweep);
}
