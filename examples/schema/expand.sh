# Adds the column `full_name`; `name` stays, so that the version that runs goes on as before.
# A hook may run twice: the second time there is nothing to do.
set -eu
[ "$SHIFTER_TO" = shop:2 ] || exit 0
file=data/users.csv
! head -n 1 $file | grep -qw full_name || exit 0
awk -F, -v OFS=, 'NR == 1 { print $0, "full_name"; next } { print $0, $2 }' $file >$file.new
mv $file.new $file
