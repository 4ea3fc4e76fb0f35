#!/bin/sh
# A Slurm of one node on this machine, for tests: loopback only, 2 CPUs, no accounting, no cgroups, no systemd.
#
#   slurm.sh install          Debian's slurm-wlm and munge, if they are not there
#   slurm.sh start FOLDER     write FOLDER/slurm.conf, start munged, slurmctld, slurmd; returns when the node is idle
#   slurm.sh stop FOLDER      end what `start` started, by the process ids it wrote
#
# As root; a machine that runs a munged or a Slurm already is left alone. `export SLURM_CONF=FOLDER/slurm.conf` for
# sbatch, squeue and all else. Exit code 77: can't be had here, with the reason.
set -eu

PORT=${SLURM_TEST_PORT:-26817}

unavailable() {
    echo "slurm.sh: $1" >&2
    exit 77
}

install() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
    [ "$(id -u)" = 0 ] || unavailable "Slurm is not installed, and only root can install it"
    command -v apt-get >/dev/null || unavailable "Slurm is not installed, and there is no apt-get"
    # No daemon of the packages' own is to start, also where there is a systemd.
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null 2>&1 || true
    apt-get -qq install --yes --no-install-recommends slurm-wlm munge >/dev/null 2>&1 ||
        unavailable "apt-get could not install slurm-wlm and munge"
}

start() {
    folder=$1
    [ "$(id -u)" = 0 ] || unavailable "only root can start munged and slurmd"
    host=$(hostname -s)
    mkdir -p "$folder/state" "$folder/spool"
    # munged asks that nobody else can write into the folders of its socket and key.
    chmod 755 "$folder"
    [ -s "$folder/munge.key" ] || head -c 128 /dev/urandom >"$folder/munge.key"
    chmod 400 "$folder/munge.key"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$PORT
SlurmdPort=$((PORT + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# Neither cgroups nor accounting: a job's processes are found by their parents, and sacct knows nothing.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=2
InactiveLimit=0
SlurmdTimeout=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" ||
        unavailable "munged does not start: $(tail -n 1 "$folder/munged.log" 2>/dev/null)"
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -f "$SLURM_CONF" -c || unavailable "slurmctld does not start"
    slurmd -f "$SLURM_CONF" -c || unavailable "slurmd does not start"
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --format=%t 2>/dev/null)" = idle ] && return
        sleep 1
    done
    echo "$(tail -n 3 "$folder/slurmctld.log" "$folder/slurmd.log")" >&2
    stop "$folder"
    unavailable "the node is not idle after a minute"
}

stop() {
    folder=$1
    for daemon in slurmd slurmctld munged; do
        [ -s "$folder/$daemon.pid" ] || continue
        pid=$(cat "$folder/$daemon.pid")
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        rm -f "$folder/$daemon.pid"
    done
}

case ${1:-} in
install) install ;;
start | stop) "$1" "${2:?a folder}" ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
