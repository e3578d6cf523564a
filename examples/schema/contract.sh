# Takes the column `name` away: the version that needed it is gone, and cannot come back after this.
# A hook may run twice: the second time there is nothing to do.
set -eu
[ "$SHIFTER_TO" = shop:2 ] || exit 0
file=data/users.csv
head -n 1 $file | grep -qw name || exit 0
awk -F, -v OFS=, '{ print $1, $3 }' $file >$file.new
mv $file.new $file
