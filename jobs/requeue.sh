# Sourced by the job scripts: `run COMMAND` is srun COMMAND, and puts the job back into the queue when SLURM stops it early.
# COMMAND saves itself when told, and ends with 75. README.md in this folder says what becomes of a job, and when.

told=''           # set once SLURM has given its warning, USR2 before the time limit
most_in_vain=5    # restarts in a row after which nothing was saved
readonly job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID} # an array's own id names all
trap 'told=1' USR2
trap end_by_slurm TERM

say() { echo "$(date '+%F %T') job $job: $*" >&2; }

source "${BASH_SOURCE%/*}/environment.sh"

run() {
    check_environment
    # Until COMMAND listens it is deaf to USR2, not killed by it: a program inherits what its shell ignores.
    srun --export=ALL --kill-on-bad-exit=0 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
        bash -c 'trap "" USR2; exec "$@"' bash "${launcher[@]}" "$@" &
    local step=$! status
    while kill -0 "$step" 2>/dev/null; do
        if [[ -n $told ]]; then
            sleep 5 # the first signal too: srun loses those of its first moments
            kill -USR2 "$step" 2>/dev/null
        else
            wait "$step" # which a trap ends
        fi
    done
    wait "$step"
    status=$?
    if ((status == 75)); then
        count_in_vain 0
        go_back "stopped early, and saved (75)"
    elif ((status > 128)) && [[ $(field PreemptTime) == [0-9]* ]]; then
        go_back "preempted before it could save ($status)"
    elif ((status > 128)) && [[ -n $told ]]; then
        go_back_in_vain "stopped before it could save ($status)"
    fi
    say "ended with $status: $(explain "$status")"
    exit "$status"
}

# SLURM ends job and script alike: scancel, a time limit that has passed, a preemption without grace or after it.
end_by_slurm() {
    trap '' USR2
    trap - TERM
    if (($(field Restarts) > ${SLURM_RESTART_COUNT:-0})); then
        say "SLURM takes the nodes, and puts the job back into the queue"
    elif [[ $(field PreemptTime) == "$(field EndTime)" ]]; then
        go_back "preempted"
    elif [[ $(field Reason) == TimeLimit && -n $told ]]; then
        go_back_in_vain "its time limit passed before it had saved"
    elif [[ $(field Reason) == TimeLimit ]]; then
        say "its time limit passed; not put back. Submit the same line with a longer --time"
    else
        say "cancelled; not put back. The same line goes on where it stopped"
    fi
    exit 143
}

go_back() { # REASON
    say "$1. It goes back into the queue"
    trap - TERM
    scontrol requeue "$job" && sleep 60 # in which SLURM ends this script
    say "SLURM does not put it back: submit the same line again, and it goes on where it stopped"
    exit 75
}

# As go_back, but not for ever where no restart gets as far as to save.
go_back_in_vain() { # REASON
    local count=$(($(count_in_vain) + 1))
    if ((count > most_in_vain)) || ! count_in_vain "$count"; then
        say "$1, $count times in a row; not put back. Give a longer --time, or an earlier warning: --signal=B:USR2@600"
        exit 143
    fi
    go_back "$1, $count of at most $most_in_vain times in a row"
}

# The count is kept in the job's comment, which outlives a requeue; SLURM_RESTART_COUNT counts every restart.
count_in_vain() { # [NUMBER]
    local comment before=0
    comment=$(scontrol show job "$job" | sed -n 's/^ *Comment=//p')
    [[ $comment =~ (.*)' '?'restarts in vain: '([0-9]+) ]] && comment=${BASH_REMATCH[1]} before=${BASH_REMATCH[2]}
    if (($# == 0)); then
        echo "$before"
    elif (($1 != before)); then
        scontrol update JobId="$job" Comment="${comment:+$comment }restarts in vain: $1"
    fi
}

field() { scontrol show job "$job" | sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" | head -n 1; }

explain() { # STATUS
    case $1 in
        0) echo "done" ;;
        1) echo "a fault of harness, see the lines above; not put back" ;;
        2) echo "flags or settings refused, see the error above; not put back" ;;
        3) echo "data refused, see the error above; not put back" ;;
        4) echo "out of memory, see the error above; not put back" ;;
        5) echo "run folder or checkpoint refused, see the error above; not put back" ;;
        6) echo "nodes or environment unfit, see the error above; not put back. The same line goes on where it stopped" ;;
        7) echo "storage full or failing, see the error above; not put back. The same line goes on where it stopped" ;;
        137) echo "killed, most often for memory: ask for more with --mem; not put back" ;;
        *) echo "ended without a word of its own, see the lines above; not put back" ;;
    esac
}
