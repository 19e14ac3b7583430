#!/bin/sh
# The experiment of docs/results.md, in pieces that can be stopped (Ctrl-C, --minutes) and started again.
#
#   DATA=folder benchmarks/experiment.sh label|stage1|stage2|rare|again|scratch|ablations|choices|distil|test|all
#
# DATA holds audio/labelled/SET/song.flac + song.lab, audio/unlabelled/SET/song.flac (no labels), REAL/ (any recordings),
# and tests TEST/SET/song.flac + song.lab. MINUTES: stop each training after so long. The store, runs and reports go to
# DATA/pseudo, DATA/runs and DATA/reports. Two trainings run side by side, a thread each.
set -eu
: "${DATA:?name the folder of recordings}" "${REAL:=real}" "${TESTS:=val_unseen val}" "${TEACHER:=crema+lv:s0}" "${MINUTES:=0}"
HERE=$(cd "$(dirname "$0")" && pwd)
cd "$DATA"

COMMON="--store pseudo/store --threads 1 --progress none --set loop.precision=bf16 --set augment.cqt_shift=[-5,6] --set loop.batch=32"
[ "$MINUTES" = 0 ] || COMMON="$COMMON --minutes $MINUTES"
PSEUDO="--split splits/stage1.json --set loop.epochs=10"
TRUE="--labels . --split splits/stage2.json --set data.stride=108 --set schedule.kind=cosine"
TUNE="$TRUE --set loop.epochs=6 --set optimizer.lr=2e-4"
WARM="--set schedule.warmup_epochs=1 --set schedule.warmup_start=5e-5 --set schedule.warmup_end=5e-4"
RARE="$TRUE --set data.weight_by=quality --set optimizer.lr=4e-4"
AGAIN="--split splits/stage1.json --set schedule.kind=cosine --set schedule.warmup_epochs=0"
LONG="$TRUE --set loop.epochs=13 $WARM"
SMALL="--set loop.batch=16"
CHOICE="--split splits/stage1.json --set loop.epochs=3 $WARM $SMALL --student btc"

train() { # name, then the arguments of chordfast train; a finished run is left alone, a begun one goes on
    name=$1
    shift
    if [ -e "runs/$name/last.pt" ]; then set -- "$@" --resume; fi
    # shellcheck disable=SC2086  # COMMON is a list
    chordfast train $COMMON "$@" -o "runs/$name" > "runs/$name.log" 2>&1 || { cat "runs/$name.log" >&2; return 1; }
}

both() { # stage, name, arguments: BTC and 2E1D side by side
    stage=$1 name=$2
    shift 2
    train "${name}_btc" "$stage" "$@" --student "$(student btc "$stage")" & first=$!
    train "${name}_2e1d" "$stage" "$@" --student "$(student 2e1d "$stage")"
    wait $first
}

student() { # what a stage starts from
    case $2 in stage2) echo "runs/s1_$1/best.safetensors" ;; *) echo "$1" ;; esac
}

run() {
    mkdir -p runs splits
    # shellcheck disable=SC2086
    case $1 in
    label)
        python "$HERE/experiment_splits.py" . --real "$REAL"
        chordfast label audio/labelled audio/unlabelled "$REAL" -o pseudo/labels --root . --model "$TEACHER" \
            --store pseudo/store --store-posteriors full8 ;;
    stage1) both stage1 s1 $PSEUDO $WARM ;;
    stage2) both stage2 s2 $TUNE ;;
    rare) # what the package ships: a longer stage 2, once more with rare qualities counting more, and the mean of both
        both stage2 s2long $LONG
        train s2bal_btc stage2 $RARE --set loop.epochs=5 --student runs/s2long_btc/best.safetensors & other=$!
        train s2bal_2e1d stage2 $RARE --set loop.epochs=5 --student runs/s2long_2e1d/best.safetensors
        wait $other
        for net in btc 2e1d; do
            mkdir -p runs/mean_$net
            chordfast models average runs/s2long_$net/best.safetensors runs/s2bal_$net/best.safetensors \
                -o runs/mean_$net/best.safetensors --force
        done ;;
    again) # stage 1 of BTC once more with rare qualities counting more, and once more without
        train s1bal_btc stage1 $AGAIN --set data.weight_by=quality --set loop.epochs=4 --set optimizer.lr=4e-4 \
            --student runs/s1_btc/best.safetensors
        train s1again_btc stage1 $AGAIN --set loop.epochs=3 --set optimizer.lr=3e-4 --student runs/s1bal_btc/best.safetensors ;;
    scratch) both scratch scratch $LONG ;;
    ablations) # stage 2 of BTC without distillation, with plain distillation, on half the labels, on noisy labels
        python "$HERE/noisy_labels.py" audio/labelled noisy/audio/labelled
        from="--student runs/s1_btc/best.safetensors"
        train nokd_btc stage2 $TUNE --set loss.kd=false $from & other=$!
        train plainkd_btc stage2 $TUNE --set loss.selective=false $from
        wait $other
        train half_btc stage2 $TUNE --split splits/half.json --set loop.epochs=12 $from & other=$!
        train noisy_btc stage2 $TUNE --labels noisy $from
        wait $other ;;
    choices) # stage 1 of BTC, short: all pseudo-labels, surer ones, agreed ones, weighted ones, the posteriors too
        train choice_all stage1 $CHOICE
        train choice_kd stage1 $CHOICE --set loss.kd=true
        train choice_surer stage1 $CHOICE --set data.min_confidence=0.5
        train choice_agreed stage1 $CHOICE --set data.agreement_only=true
        train choice_weighted stage1 $CHOICE --set data.weight_by=confidence ;;
    distil) # stage 1 of BTC from the teacher's posteriors as well as its classes; once more, rare qualities weighing more
        train s1kd_btc stage1 $PSEUDO $WARM $SMALL --set loop.epochs=16 --set loss.kd=true --student btc
        train s1kdbal_btc stage1 $AGAIN $SMALL --set loop.epochs=2 --set loss.kd=true --set data.weight_by=quality \
            --set optimizer.lr=3e-4 --student runs/s1kd_btc/best.safetensors ;;
    test)
        for test in $TESTS; do
            estimates=""
            for model in crema lv "$TEACHER" runs/*/best.safetensors; do
                case $model in runs/*) name=$(basename "$(dirname "$model")") ;; *) name=$model ;; esac
                chordfast label "$test" -o "reports/$test/$name" --model "$model" --progress none
                estimates="$estimates -e reports/$test/$name"
            done
            chordfast evaluate -q -r "$test" $estimates -o "reports/$test"
        done ;;
    all) for step in label stage1 stage2 rare again scratch ablations choices distil test; do run $step; done ;;
    *) echo "there is no step $1: label stage1 stage2 rare again scratch ablations choices distil test all" >&2; exit 2 ;;
    esac
}
run "${1:-all}"
