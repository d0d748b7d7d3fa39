# Sourced by requeue.sh and pipeline.sh: what the site adds, and whether harness can be started with it.

launcher=() # words before python, such as those of a container
if [[ -e jobs/site.sh ]]; then
    folder=$PWD
    source jobs/site.sh
    cd "$folder" || exit 2
    set +euo pipefail # a job lives on when its command fails
fi

# Fails with a sentence where python or harness is missing, before anything waits for it.
check_environment() {
    local said program='import importlib.util, harness.train
importlib.util.find_spec("tensorflow") or exit("TensorFlow is not installed")'
    said=$("${launcher[@]}" python -c "$program" 2>&1) && return
    echo "harness cannot be started on $HOSTNAME (${said##*$'\n'}). Activate its environment before you submit, or in" \
        "jobs/site.sh: see jobs/site.sh.example." >&2
    return 1
}
