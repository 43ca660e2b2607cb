#!/bin/sh
# Start one of verl's recipes, HICRA or another arm, in an environment with verl and hicra:
#
#     recipes/verl/run.sh qwen3_4b_base                       HICRA
#     recipes/verl/run.sh qwen3_4b_base grpo                  GRPO, measured alike
#     recipes/verl/run.sh qwen3_4b_base placebo data.seed=1   a control, and any setting of verl's
#
# It checks the recipe first (hicra train NAME.yaml --dry-run).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?a recipe: $(cd "$here" && echo *.yaml)}
arm=${2:-hicra}
shift $(($# > 1 ? 2 : 1))
case $arm in
grpo) credit="++algorithm.hicra.observe=true" ;;
*) credit="++algorithm.hicra.estimator=$arm" ;;
esac
hicra train "$here/$name.yaml" --dry-run
exec python -m verl.trainer.main_ppo --config-dir "$here" --config-name "$name" \
    "$credit" "trainer.experiment_name=$name-$arm" "$@"
