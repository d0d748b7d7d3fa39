# Sourced by the job scripts: `run COMMAND` is srun COMMAND, and puts the job back into the queue when SLURM stops it early.
# COMMAND saves itself when told, and ends with 75. README.md in this folder says what becomes of a job, and when.

told=''       # set once SLURM has warned of the time limit, by USR2
wasted=''     # starts in a row that had saved nothing when their time was over, with this one
most_wasted=5
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID} # the plain id may name all tasks

listen() {
    trap 'told=1' USR2
    trap end_by_slurm TERM
}

run() {
    listen # site.sh may have set traps
    say "starts on $SLURM_JOB_NODELIST${SLURM_RESTART_COUNT:+, restart $SLURM_RESTART_COUNT}"
    check_environment || finish 6
    # Until COMMAND listens it is deaf to USR2, not killed by it: a program inherits what its shell ignores.
    srun --export=ALL --kill-on-bad-exit=0 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
        bash -c 'trap "" USR2; exec "$@"' bash "${launcher[@]}" "$@" &
    local step=$! status
    while kill -0 "$step" 2>/dev/null; do
        if [[ -z $told ]]; then
            wait "$step" # until it or a trap ends
        else
            [[ -n $wasted ]] || note_wasted $(($(count_wasted) + 1)) # later SLURM takes no note any more
            sleep 5 & # before the first signal too: srun loses those of its first moments
            wait $!
            is_too_early || kill -USR2 "$step" 2>/dev/null
        fi
    done
    wait "$step"
    status=$?
    if ((status == 75)); then
        (($(count_wasted) == 0)) || note_wasted 0
        go_back "stopped early, and saved (75)"
    elif ((status > 128)) && [[ $(field PreemptTime) == [0-9]* ]]; then
        go_back "preempted before it could save ($status)"
    elif ((status > 128)) && [[ -n $told ]]; then
        go_back_unless_wasted "stopped before it could save ($status)"
    fi
    finish "$status"
}

# Where the warning is as long as the time limit, SLURM warns at once: a minute of work, or half the time, comes first.
is_too_early() {
    local now passed left
    now=$(date +%s)
    passed=$((now - $(date -d "$(field StartTime)" +%s))) left=$(($(date -d "$(field EndTime)" +%s) - now))
    ((passed < 60 && passed < left && left < 600))
} 2>/dev/null # a time that is unknown is no date

# SLURM ends job and script alike: scancel, a time limit that has passed, a preemption without grace or at its end.
end_by_slurm() {
    local restarts preempted reason
    restarts=$(field Restarts) preempted=$(field PreemptTime) reason=$(field Reason)
    if ((${restarts:-0} > ${SLURM_RESTART_COUNT:-0})); then
        say "SLURM takes the nodes, and puts the job back into the queue"
    elif [[ $preempted == [0-9]* && $preempted == "$(field EndTime)" ]]; then # not cancelled within the grace
        go_back "preempted"
    elif [[ $reason == TimeLimit && -n $told ]]; then
        go_back_unless_wasted "its time limit passed before it had saved"
    elif [[ $reason == TimeLimit ]]; then
        say "its time limit passed; not put back. Submit the same line with a longer --time"
    else
        say "cancelled; not put back. The same line goes on where it stopped"
    fi
    exit 143
}

go_back() { # REASON
    say "$1. It goes back into the queue"
    trap - TERM
    scontrol requeue "$job" ||
        say "SLURM refused that: submit the same line again, and it goes on where it stopped"
    exit 75
}

# Not for ever, where the time limit is too short to get as far as to save.
go_back_unless_wasted() { # REASON
    if [[ -n $wasted ]] && ((wasted <= most_wasted)); then
        go_back "$1, as in $wasted of at most $most_wasted starts in a row"
    fi
    say "$1, as in the $most_wasted starts before; not put back. Submit it with a longer --time, or an earlier warning:" \
        "--signal=B:USR2@600"
    exit 143
}

finish() { # STATUS
    say "ended with $1: $(explain "$1")"
    exit "$1"
}

# The count is kept in the job's comment, which outlives a requeue; SLURM_RESTART_COUNT counts every restart.
count_wasted() {
    local comment
    comment=$(read_comment)
    [[ $comment == *'wasted starts: '* ]] && echo "${comment##*wasted starts: }" || echo 0
}

note_wasted() { # NUMBER
    local comment
    comment=$(read_comment)
    scontrol update JobId="$job" Comment="${comment%%wasted starts: *}wasted starts: $1" && wasted=$1
}

read_comment() { scontrol show job "$job" | sed -n 's/^ *Comment=//p'; }

field() { scontrol show job "$job" | sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" | head -n 1; }

say() { echo "$(date '+%F %T') job $job: $*" >&2; }

explain() { # STATUS
    case $1 in
        0) echo "done" ;;
        1) echo "a fault of harness or of srun, see the lines above; not put back" ;;
        2) echo "flags or settings refused, see the error above; not put back" ;;
        3) echo "data refused, see the error above; not put back" ;;
        4) echo "out of memory, see the error above; not put back" ;;
        5) echo "folder or checkpoint refused, see the error above; not put back" ;;
        6) echo "nodes or environment unfit, see the error above; not put back. The same line goes on where it stopped" ;;
        7) echo "storage full or failing, see the error above; not put back. The same line goes on where it stopped" ;;
        137) echo "killed, most often for memory: ask for more with --mem; not put back" ;;
        *) echo "ended without an error of its own, see the lines above; not put back" ;;
    esac
}

listen
# A job that a task of an array has submitted inherits the variables of that task.
if [[ -n $SLURM_ARRAY_JOB_ID && $(scontrol show job --oneliner "$SLURM_JOB_ID") == "JobId=$SLURM_JOB_ID JobName="* ]]; then
    job=$SLURM_JOB_ID
fi
source "${BASH_SOURCE%/*}/environment.sh"
