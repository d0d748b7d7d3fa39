#!/usr/bin/env bash
# Submits build -> train -> evaluate, each after the one before, and says what to watch.
#   jobs/pipeline.sh runs/flowers --images data/flowers
# Flags after the run folder go to build and train; after --build or --train to one of them. Options after --sbatch go to
# all three jobs, after --sbatch-train to the training:
#   jobs/pipeline.sh runs/flowers --images data/flowers --build --split.test 0.1 --train --epochs 50 \
#       --sbatch --partition=gpu --sbatch-train --nodes=2 --time=24:00:00

[[ -e jobs/pipeline.sh ]] || { echo "There is no $PWD/jobs/pipeline.sh: start it in the project's folder." >&2; exit 2; }
[[ ${1:--} != -* ]] || { echo "The run folder comes first: jobs/pipeline.sh runs/flowers --images data/flowers" >&2; exit 2; }
run=$1
both=() build=() train=() sbatch=() sbatch_train=()
declare -n words=both
for word in "${@:2}"; do
    case $word in
        --build | --train | --sbatch) declare -n words=${word#--} ;;
        --sbatch-train) declare -n words=sbatch_train ;;
        *) words+=("$word") ;;
    esac
done
build=("${both[@]}" "${build[@]}")
train=("${both[@]}" "${train[@]}" --run "$run")

source jobs/environment.sh # before the line that follows: conda and modules use variables that are not set
set -euo pipefail
check_environment || exit 6
"${launcher[@]}" python -m harness.build_records "${build[@]}" --show-config >/dev/null || exit
"${launcher[@]}" python -m harness.train "${train[@]}" --show-config >/dev/null || exit

submit() { # BEFORE WORDS...: prints the job's id. What follows a job that failed is cancelled.
    local id log
    id=$(sbatch --parsable --kill-on-invalid-dep=yes ${1:+--dependency="afterok:$1"} "${sbatch[@]}" "${@:2}") || {
        echo "SLURM refuses the job${1:+ after $1}, see the error above. What it asks for: jobs/README.md" >&2
        exit 2
    }
    id=${id%%;*} # a cluster's name may follow
    log=$(find_log "$id")
    if [[ ! -w ${log%/*} ]]; then # SLURM would end it with 0:53 and no word
        echo "Job $id cannot write its log: ${log%/*} is missing or read-only. Make it, and submit again." >&2
        scancel "$id"
        exit 2
    fi
    echo "$id"
}

give_up() { # JOBS...
    scancel "$@"
    echo "Cancelled again: $*" >&2
    exit 2
}

quote_log() { printf %q "$(find_log "$1")"; }

find_log() { scontrol show job "$1" | sed -n 's/^ *StdOut=//p'; }

built=$(submit '' jobs/build_records.sbatch "${build[@]}") || exit
trained=$(submit "$built" "${sbatch_train[@]}" jobs/train.sbatch "${train[@]}") || give_up "$built"
evaluated=$(submit "$trained" jobs/evaluate.sbatch "$run") || give_up "$built" "$trained"

cat <<TEXT
build $built, then train $trained, then evaluate $evaluated. What to do meanwhile:
  squeue --me                     which of them wait, and why
  tail -F $(quote_log "$built") $(quote_log "$trained")
  scancel $built $trained $evaluated
In the end: $run/report.html, and the figures in $(find_log "$evaluated")
TEXT
